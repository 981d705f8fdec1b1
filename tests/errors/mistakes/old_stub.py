# modal.Stub, in strict mode
import moorage as modal

modal.config.strict = True
stub = modal.Stub("shop")
