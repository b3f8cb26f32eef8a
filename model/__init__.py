"""All that inference needs: reading scans, preprocessing, the exported graph, predictions.

Numpy and ONNX Runtime compute it; nothing of torch, nothing of the page.
"""

CLASSES = ("glioma", "meningioma", "pituitary", "notumor")  # the order of every logit and probability vector
NO_TUMOR = CLASSES.index("notumor")
DISPLAY_NAMES = {"glioma": "glioma", "meningioma": "meningioma", "pituitary": "pituitary tumor", "notumor": "no tumor"}
