"""Arrays on disk: NetCDF, HDF5, Zarr and GRIB, on grids and in swaths."""
