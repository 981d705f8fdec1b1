# set_local_input_concurrency outside of a container
import moorage as modal

modal.experimental.set_local_input_concurrency(4)
