"""What a run's folder holds, by name."""

HEADER = "run.toml"
CONFIG = "config.toml"
FACTS = "facts.json"
EVENTS = "events.jsonl"
OUTPUT = "environment.log"
PICTURES = "pictures.safetensors"
ITERATIONS = "iterations"
