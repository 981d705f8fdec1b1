# Function()
import moorage as modal

modal.Function()
