# a retry policy without the name of its argument
import moorage as modal

policy = modal.Retries(3)
