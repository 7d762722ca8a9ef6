"""Documents to answer from: cut into chunks, indexed by fragment, and searched by words and by vectors."""
