"""Strings with which strangers try to have files and addresses opened that are not theirs.

`{canary}` is a GeoTIFF outside of every folder that may be read, `{folder}` its folder, `{home}`
the server's own folder, and `{bell}` a host and port of loopback.
"""

from __future__ import annotations

VRT = (
    '<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>EPSG:32633</SRS>'
    "<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>"
    '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
    '<SourceFilename relativeToVRT="0">{canary}</SourceFilename><SourceBand>1</SourceBand>'
    "</SimpleSource></VRTRasterBand></VRTDataset>"
)
WMS = (
    "<GDAL_WMS><Service name='TMS'><ServerUrl>http://{bell}/${{z}}/${{x}}/${{y}}.png</ServerUrl>"
    "</Service><DataWindow><UpperLeftX>-1</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1"
    "</LowerRightX><LowerRightY>-1</LowerRightY><TileLevel>1</TileLevel></DataWindow></GDAL_WMS>"
)
WCS = "<WCS_GDAL><ServiceURL>http://{bell}/?</ServiceURL><CoverageName>a</CoverageName></WCS_GDAL>"

OPEN_THE_CANARY: dict[str, str] = {
    "inline VRT": VRT,
    "vrt://": "vrt://{canary}?bands=1",
    "derived subdataset": "DERIVED_SUBDATASET:LOGAMPLITUDE:{canary}",
    "/vsisubfile/": "/vsisubfile/0_100000,{canary}",
    "GTIFF_DIR": "GTIFF_DIR:1:{canary}",
    "GTIFF_RAW": "GTIFF_RAW:{canary}",
    "a plain path": "{canary}",
    "a path with ..": "{home}/../outside/canary.tif",
    "/vsizip/": "/vsizip/{folder}/canary.zip/canary.tif",
    "/vsitar/": "/vsitar/{folder}/canary.tar/canary.tif",
    "/vsigzip/": "/vsigzip/{folder}/canary.tif.gz",
    "/vsisparse/": "/vsisparse/{folder}/sparse.xml",
    "/vsicached": "/vsicached?file={canary}",
    "nested prefixes": "/vsisubfile/0_100000,/vsigzip/{folder}/canary.tif.gz",
    "NETCDF": 'NETCDF:"{folder}/canary.nc":values',
}
"""GDAL, given one of these, reads the canary; `test_real` sees that it does."""
RING_THE_BELL: dict[str, str] = {
    "GDAL_WMS": WMS,
    "GDAL_WCS": WCS,
    "/vsicurl/": "/vsicurl/http://{bell}/image.tif",
    "/vsicurl with options": "/vsicurl?max_retry=0&url=http%3A%2F%2F{bell}%2Fimage.tif",
    "/vsicurl header_file": "/vsicurl?header_file={folder}/secret.txt&url=http://{bell}/a.tif",
    "loopback": "http://{bell}/image.tif",
    "WMS:": "WMS:http://{bell}/?service=WMS",
    "WCS:": "WCS:http://{bell}/?coverage=a",
    "WMTS:": "WMTS:http://{bell}/caps.xml",
    "STACIT:": 'STACIT:"http://{bell}/search"',
    "STACTA": "STACTA:http://{bell}/a.json",
    "ZARR over /vsicurl/": 'ZARR:"/vsicurl/http://{bell}/a.zarr"',
    "PLMosaic": "PLMosaic:http://{bell}/",
    "/vsicurl_streaming/": "/vsicurl_streaming/http://{bell}/image.tif",
}
"""What connects to loopback."""
NAMES: dict[str, str] = {
    "file URL": "file://{canary}",
    "file URL of localhost": "file://localhost{canary}",
    "file URL of a host": "file://127.0.0.1{canary}",
    "upper case": "FILE://{canary}",
    "UNC": "\\\\127.0.0.1\\share\\canary.tif",
    "UNC with slashes": "//127.0.0.1/share/canary.tif",
    "a drive": "C:\\canary.tif",
    "percent": "{home}/%2e%2e/outside/canary.tif",
    "two percents": "{home}/%252e%252e/outside/canary.tif",
    "NUL": "{canary}\0.tif",
    "NUL, in percent": "{canary}%00.tif",
    "a line break": "image.tif\n{canary}",
    "/vsimem/": "/vsimem/image.tif",
    "/vsis3/": "/vsis3/bucket/image.tif",
    "/vsigs/": "/vsigs/bucket/image.tif",
    "/vsiaz/": "/vsiaz/bucket/image.tif",
    "/vsiadls/": "/vsiadls/bucket/image.tif",
    "/vsioss/": "/vsioss/bucket/image.tif",
    "/vsiswift/": "/vsiswift/bucket/image.tif",
    "/vsiwebhdfs/": "/vsiwebhdfs/http://{bell}/image.tif",
    "/vsihdfs/": "/vsihdfs/image.tif",
    "/vsistdin/": "/vsistdin/",
    "/vsi7z/": "/vsi7z/{folder}/canary.7z",
    "/vsicrypt/": "/vsicrypt/key=a,file={canary}",
    "upper-case prefix": "/VSIZIP/{folder}/canary.zip/canary.tif",
    "s3 that is not listed": "s3://secret/image.tif",
    "gs": "gs://secret/image.tif",
    "HDF5": 'HDF5:"{folder}/canary.nc"://values',
    "NETCDF over http": "NETCDF:http://{bell}/a.nc:v",
    "PostgreSQL": "PG:host=127.0.0.1 dbname=ledger user=postgres",
    "PostgreSQL raster": "PG:dbname=ledger table=users",
    "MySQL": "MYSQL:ledger,host=127.0.0.1",
    "SQLite": "SQLITE:{home}/ledger.sqlite",
    "GeoPackage": "GPKG:{home}/ledger.sqlite:users",
    "Rasterlite": "RASTERLITE:{home}/ledger.sqlite,table=users",
    "memory": "MEM:::DATAPOINTER=1,PIXELS=9,LINES=9",
    "streamed algorithm": '{{"type": "gdal_streamed_alg", "command_line": "gdal raster pipeline"}}',
    "GDALG": "GDALG:{{}}",
    "ftp": "ftp://127.0.0.1/image.tif",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "data": "data:image/tiff;base64,SUkqAA==",
    "javascript": "javascript:alert(1)",
    "user and password": "http://user:word@data.example/image.tif",
    "host behind a user": "http://data.example@{bell}/image.tif",
    "host behind a backslash": "http://data.example\\@{bell}/image.tif",
    "host with more": "http://data.example.evil.example/image.tif",
    "another port": "http://data.example:81/image.tif",
    "an IPv6 loopback": "http://[::1]/image.tif",
    "a mapped address": "http://[::ffff:127.0.0.1]/image.tif",
    "a mapped address in hex": "http://[::ffff:7f00:1]/image.tif",
    "a decimal address": "http://2130706433/image.tif",
    "a hexadecimal address": "http://0x7f000001/image.tif",
    "an octal address": "http://0177.0.0.1/image.tif",
    "a short address": "http://127.1/image.tif",
    "zero": "http://0.0.0.0/image.tif",
    "metadata of clouds": "http://169.254.169.254/latest/image.tif",
    "metadata by name": "http://metadata.google.internal/image.tif",
    "localhost": "http://localhost/image.tif",
    "localhost with a dot": "http://localhost./image.tif",
    "a header in the path": "http://data.example/%0d%0aHost:%20evil/a.tif",
    "a wide dot": "http://127\uff0e0\uff0e0\uff0e1/image.tif",
    "an empty string": "",
    "a folder": "{home}",
    "the database": "{home}/ledger.sqlite",
    "the key": "{home}/signing.key",
    "a process": "/proc/self/environ",
    "a device": "/dev/zero",
    "SQL": "'; DROP TABLE users; --",
    "a shell": "$(touch {folder}/touched)`touch {folder}/touched`.tif",
    "a template": "{{{{7*7}}}}.tif",
    "a very long name": "a/" * 5000 + "a.tif",
    "half a character": "\ud800.tif",
}
"""Other names of files and hosts that are nobody's business."""

ALL = {**OPEN_THE_CANARY, **RING_THE_BELL, **NAMES}
