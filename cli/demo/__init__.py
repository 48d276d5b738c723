"""The main job shown on real input: three townships send, everything is pre-read, a patient opens the film."""
