"""Letters: typed, versioned messages between actors, a file per sender; and shared facts.

Pure. A letter is a row in its sender's commit, so it is sent exactly if the tick
that decided it was committed. No letter carries content or a plaintext secret.
"""
