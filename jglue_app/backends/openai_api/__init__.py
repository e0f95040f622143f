"""Models on servers with an OpenAI-compatible interface: vLLM, llama.cpp, Ollama, LM Studio, TGI, transformers serve,
and commercial ones."""
