# Clouds in a Sentinel-2 image by ratios and thresholds, for the bands blue, green, red, near
# infrared (B08) and short-wave infrared (B11 and B12): 0 is clear, 1 haze or thin cloud, 2 cloud.
#
# /// script
# dependencies = ["numpy"]
# [tool.terrazzo.result]
# dtype = "float32"
# ///
blue, green, red = band0 / 10000, band1 / 10000, band2 / 10000
nir, swir1, swir2 = band3 / 10000, band4 / 10000, band5 / 10000

visible = (blue + green + red) / 3
whiteness = (abs(blue - visible) + abs(green - visible) + abs(red - visible)) / visible
ndvi = (nir - red) / (nir + red)
ndsi = (green - swir1) / (green + swir1)

likely = (swir2 > 0.03) & (ndsi < 0.8) & (ndvi < 0.8) & (whiteness < 0.7)
haze = likely & (blue - 0.5 * red > 0.08) & (nir / swir1 > 0.75)
cloud = haze & (visible > 0.25) & (whiteness < 0.25)

img = np.where(cloud, 2, np.where(haze, 1, 0)).astype("float32")
img[np.isnan(visible + nir + swir1 + swir2)] = np.nan
