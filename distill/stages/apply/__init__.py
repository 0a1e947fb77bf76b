"""The stages of `distill apply`: which rows a student is not sure of, and what was answered as files
for others to read. The labelling itself is `distill.stages.label`'s."""
