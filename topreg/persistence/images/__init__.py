"""Cubical persistence of images and volumes: begin reading at ``_pixel_kernels``.

``_images`` is what filtrations and losses call. Pixels are searched by saddles
(``_pixel_kernels``), two images are compared by five such searches (``_comparison_kernels``), and
voxels are united in sorted order (``_voxel_kernels``).
"""
