"""The twelve-lead ECG classifier: made from PTB-XL, served by ``inference/ecg/statements.py``."""
