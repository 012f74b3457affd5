"""What every folder may use: files, fingerprints, processes and the environment that affects bits."""
