"""Token tasks whose reward is exact: right or wrong, by the rules of arithmetic."""

from fedjax_rl.hetero.tasks.addition import addition
from fedjax_rl.hetero.tasks.brackets import brackets
from fedjax_rl.hetero.tasks.prefix_sum import prefix_sum
from fedjax_rl.hetero.tasks.sorting import sorting
from fedjax_rl.hetero.tasks.task import TokenTask, register_task, tasks

register_task("addition", addition)
register_task("brackets", brackets)
register_task("prefix-sum", prefix_sum)
register_task("sorting", sorting)

__all__ = ["TokenTask", "addition", "brackets", "prefix_sum", "register_task", "sorting", "tasks"]
