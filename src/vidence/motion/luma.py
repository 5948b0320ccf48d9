"""How bright an RGB pixel is."""

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: the shares of red, green and blue in gray
