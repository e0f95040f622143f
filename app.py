"""The entry point of the Hugging Face Space and of `python app.py`."""

from jglue_app.ui.page import launch

if __name__ == "__main__":
    launch()
