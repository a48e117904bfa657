"""One thread for OpenCV: results and times do not depend on the machine."""

import cv2

cv2.setNumThreads(1)
