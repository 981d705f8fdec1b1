# a function with an unknown id
import moorage as modal

modal.Function.from_id("fu-123").remote(1)
