"""All that inference needs: reading scans, preprocessing, the network, quantisation, predictions.

Imports torch, numpy, Pillow, safetensors and huggingface-hub; never gradio, torchvision, matplotlib or scikit-learn.
"""

CLASSES = ("glioma", "meningioma", "pituitary", "notumor")  # the order of every logit and probability vector
NO_TUMOR = CLASSES.index("notumor")
DISPLAY_NAMES = {"glioma": "glioma", "meningioma": "meningioma", "pituitary": "pituitary tumor", "notumor": "no tumor"}
