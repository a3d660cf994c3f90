"""What stages share: their context, the resumable fit, networks and experience from versions."""
