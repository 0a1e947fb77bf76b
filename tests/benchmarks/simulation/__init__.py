"""Labelling on up to a thousand GPUs, on paper: `published` what others state, `costs` what was
measured of distill, `model` the events, `study` what is asked of them."""
