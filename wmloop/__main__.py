"""`wmloop` and `python -m wmloop`: what has to be in place before anything heavy loads, then the command line."""

from __future__ import annotations

from wmloop import signals, streams


def main() -> None:
    """Run the command line, with standard streams that exist and signals that are heard from the first moment."""
    streams.open_missing()
    signals.install()
    try:
        from wmloop.cli import main as command_line

        command_line()
    except KeyboardInterrupt:  # while modules were loading
        raise SystemExit(130) from None
    finally:
        streams.flush()


if __name__ == "__main__":
    main()
