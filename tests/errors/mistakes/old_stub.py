# modal.Stub
import moorage as modal

stub = modal.Stub("shop")
