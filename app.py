"""The entry point of the Hugging Face Space and of `python app.py`."""

import sys

from jglue_app.errors import JglueAppError
from jglue_app.ui.page import launch

if __name__ == "__main__":
    try:
        launch()
    except JglueAppError as e:
        sys.exit(f"error: {e}")
