"""Colours of segments: RGB 0 to 255, and RecommendedDisplayCIELabValue (PS3.3 C.10.7.1.1; CIE 1976 L*a*b* of sRGB, white D50)."""

from typing import Sequence, Tuple

import numpy as np

Rgb = Tuple[int, int, int]

WHITE_D50 = np.array([0.9642, 1.0, 0.8249])
# sRGB to XYZ, adapted from D65 to D50 by Bradford's method (ICC profile of sRGB).
TO_XYZ = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]])
EPSILON, KAPPA = 216 / 24389, 24389 / 27

PALETTE: Tuple[Rgb, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
"""Colours that people with any colour vision tell apart (Okabe and Ito), for segments that name none."""


def of_dicom(value: Sequence[int]) -> Rgb:
    lightness, a, b = value[0] / 65535 * 100, value[1] / 65535 * 255 - 128, value[2] / 65535 * 255 - 128
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f**3 > EPSILON, f**3, (116 * f - 16) / KAPPA) * WHITE_D50
    linear = np.clip(np.linalg.solve(TO_XYZ, xyz), 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return tuple(int(one) for one in np.rint(srgb * 255))


def to_dicom(rgb: Sequence[int]) -> Tuple[int, int, int]:
    srgb = np.asarray(rgb, float) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ linear / WHITE_D50
    f = np.where(xyz > EPSILON, np.cbrt(xyz), (KAPPA * xyz + 16) / 116)
    lab = np.array([(116 * f[1] - 16) / 100, (500 * (f[0] - f[1]) + 128) / 255, (200 * (f[1] - f[2]) + 128) / 255])
    return tuple(int(one) for one in np.clip(np.rint(lab * 65535), 0, 65535))
