"""Stored runs → a dataset repository of somebody's own account on the Hugging Face Hub.

    from jglue_app import hub_sink

    sent = hub_sink.push(Path("runs/…"), hub_sink.Account("name", token))
    print(sent.url)

`push_run.py` writes what is sent (the run as an archive, one row an item, and the card of `card.py`) and starts the
process that sends it, `uploader.py`: only there the Hub's client is imported, and the token is.
"""

from jglue_app.hub_sink.push_run import Account, HubPush, push

__all__ = ["Account", "HubPush", "push"]
