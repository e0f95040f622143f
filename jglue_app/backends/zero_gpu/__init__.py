"""Hugging Face's ZeroGPU: a GPU that is lent for seconds, to a process that is forked for it.

On ZeroGPU this process has no GPU. A function that needs one is decorated with `spaces.GPU`; each call asks for a GPU
for a number of seconds, which are counted against the daily quota of the visitor whose request it is, and runs in a
process that is forked from this one. That process is killed when its seconds are over. It may be used again for the
next call, or not, so that a model may have to be loaded in each.

Therefore models that need a GPU are represented here by a `ZeroGpuBackend`: it knows the tokenizer, and sends prompts
in requests that are large enough to be worth loading a model, and small enough to end well before their seconds do.
Answers come back one at a time and are stored here, so that a killed process loses no answer that was stored.

| file | what it does |
|---|---|
| `space` | finds out whether this is ZeroGPU, and decorates the function |
| `request` | what one call is told, and what it does in the forked process |
| `call` | one call as seen from here: its answers, stopping it, a process that was killed |
| `durations` | how many seconds to ask for, from measured rates |
| `refusals` | why no GPU was lent, in sentences |
| `backend` | a model that answers there |
"""
