"""PEFT adapters, applied on the weights of a model that is loaded already: these are shared, not copied."""
