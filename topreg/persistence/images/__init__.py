"""Cubical persistence of images and volumes: begin reading at ``_pixel_kernels``.

Filtrations and losses call ``_images``. Pixels are searched by saddles (``_pixel_kernels``), two
images are compared by five such searches (``_comparison_kernels``), and voxels are united in sorted
order (``_voxel_kernels``).
"""
