"""A Llama of random weights with a real tokenizer, as large as wanted: for timing where no real model of that size is.

    python -m tests.random_llama FOLDER [--layers 32 --hidden 4096 --inner 11008 --heads 32]

The tokenizer is that of the embedded model. `python -m tests.gpu_check` does all that is timed on a GPU
with two of them. By hand, for a GPU of 40 GB or more:

    python -m jglue_app bench --model FOLDER --tasks jnli,jcommonsenseqa --shots 0,3 --method choose --limit 1000
    python -m jglue_app bench --model FOLDER --tasks jnli,jcommonsenseqa --shots 3 --method choose --limit 200 \\
        --peer lm-eval --peer-python peer/bin/python
    python -m jglue_app compare --a FOLDER --b-quantization 8bit --tasks jnli,jcommonsenseqa --method choose --limit 200
    python -m jglue_app bench --model FOLDER --tasks jsquad --shots 3 --method generate --limit 1000 --memory 60
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from jglue_app.backends.hf.checkpoint.find_weights import find_model
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec


def make(folder: Path, layers: int, hidden: int, inner: int, heads: int, tokenizer_folder: Path | None = None) -> int:
    """Write the model and its tokenizer, by default that of the embedded model, in bfloat16; the number of its
    parameters."""
    source = tokenizer_folder or find_model(ModelSpec("gemma-3-270m"), load_settings(), print).path
    tokenizer = AutoTokenizer.from_pretrained(source)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=8_192,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="bfloat16",
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=4_096)
    parser.add_argument("--inner", type=int, default=11_008)
    parser.add_argument("--heads", type=int, default=32)
    asked = parser.parse_args(arguments)
    count = make(asked.folder, asked.layers, asked.hidden, asked.inner, asked.heads)
    print(f"{count / 1e9:.2f} billion parameters in {asked.folder}.")


if __name__ == "__main__":
    main()
