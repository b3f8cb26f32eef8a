"""What a file may hold, claim and unpack to. Every limit is checked before what it limits is decoded or kept."""

MAX_BYTES = 100 * 2**20  # of one file: a zipped series of 400 slices of 512 x 512 is 60 MB
MAX_PIXELS = 24_000_000  # of one slice: a phone's photo of a film; a bomb of 140 kB decodes to six times as many
MAX_PIXELS_JPEG_2000 = 12_000_000  # of one such slice: its decoder holds 24 bytes a pixel, and is the slowest
MAX_PIXELS_IN_ALL = 64_000_000  # of one scan: 244 slices of 512 x 512, which take 128 MB in 16 bits
MAX_SLICES = 512  # of one scan: twice the slices of an isotropic head volume
MAX_FRAMES = 4096  # that one DICOM file may claim: 60 slices in 64 diffusion directions, of which the first 60 are read
MAX_FILES = 4096  # in one upload: a whole examination of the head is 500 to 3,000 files
MAX_ZIP_ENTRIES = 8192  # as MAX_FILES, and what else is on a hospital's disc: viewers, help pages
MAX_EXPANDED_BYTES = 512 * 2**20  # of one archive: 64 million voxels of 8 bytes; inflating more takes too many seconds
MAX_ZIP_RATIO = 100  # of bytes in all entries to bytes of the ZIP: black slices compress 20-fold, zip bombs 1000-fold
MAX_NESTING = 2  # archives around a file: a ZIP, and the gzip of a .nii.gz in it; nobody exports a ZIP in a ZIP
MAX_BYTES_AT_ONCE = 256 * 2**20  # of the decoded slices of one upload, which wait in memory until all are judged
MAX_TILES = 4096  # of one JPEG 2000 picture: 24 million pixels in tiles of 77 x 77; each costs its decoder memory
MIN_SIDE = 32  # pixels: anatomy cannot be told from fewer
MAX_ASPECT = 4  # longer to shorter side: no slice is a stripe, and preprocessing pads to a square
MAX_NAME = 120  # characters of a name that is shown: a table's cell holds no more
