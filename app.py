"""The entry point of the Hugging Face Space and of `python app.py`."""

import sys

from jglue_app import environment
from jglue_app.backends.zero_gpu import space as zero_gpu
from jglue_app.errors import JglueAppError

if __name__ == "__main__":
    environment.repair_streams()
    try:
        for sentence in environment.prepare():
            print(f"note: {sentence}", file=sys.stderr)
        environment.check_page()
        zero_gpu.prepare()  # Before anything imports torch.
        from jglue_app.ui.page import launch  # Gradio reads the environment when it is imported.

        launch()
    except JglueAppError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(e.exit_code)
