"""Using a model over HTTP (`server.py`) and in the terminal (`chat.py`), both through `text.py`."""
