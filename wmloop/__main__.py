"""`python -m wmloop`: the same as the `wmloop` command."""

from wmloop.cli import main

if __name__ == "__main__":
    main()
