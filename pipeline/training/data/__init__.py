"""From token shards and conversations to batches."""
