"""What a fit with `teachers` needs beside trainings: its pool split, and one model of them all."""
