"""What actors say to each other: typed, versioned letters, a file per speaker.

Pure. A letter is a row in its sender's commit, so it is sent exactly if the tick
that decided it was committed. No letter carries content or a plaintext secret.
"""
