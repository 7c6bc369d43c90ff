"""`python -m engram_export`, the same as `engram-export`."""

from engram_export.cli import main

if __name__ == "__main__":
    main()
