"""The pre-read of a resting electrocardiogram: waveform, delineation, measurements and statements by rule."""
