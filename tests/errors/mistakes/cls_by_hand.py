# Cls()
import moorage as modal

modal.Cls()
