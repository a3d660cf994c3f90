"""The networks: V (vision), M (memory), C (controller). They know nothing of files."""
