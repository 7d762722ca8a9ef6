"""Programs that measure the project. Run them from the root of the repository: `python -m benchmarks.NAME --help`.

Figures of earlier runs, with their commands, are in docs/results/.
"""
