"""`python -m medloom` is the command `medloom`."""

from .cli import main

if __name__ == "__main__":
    main()
