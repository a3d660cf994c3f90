"""The stages of an iteration: each reads committed versions and writes one new version."""
