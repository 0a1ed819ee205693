"""Admission control of a queue, where some speak for those who wait, some for those refused."""

from __future__ import annotations

import numpy as np

from fedjax_rl.checks import check_count, checked, finite, positive
from fedjax_rl.cmdp.model import CMDP, from_arrays

BUDGETS = (25.0, 2.0)


def admission_queue(
    capacity: int = 10,
    first_rate: float = 0.5,
    second_rate: float = 0.5,
    service_rate: float = 1.0,
    first_reward: float = 5.0,
    second_reward: float = 1.0,
    discount: float = 0.95,
) -> CMDP:
    """Admission to one server, uniformised (Puterman 1994, section 11.5); two classes arrive.

    With n ≤ C customers in the system, the next event is an arrival of the first or second class
    or the end of a service, with probabilities in proportion to their rates; an idle server's
    service changes nothing. One decides beforehand who would be admitted (0 nobody, 1 the first
    class, 2 the second, 3 both), and a full system admits nobody. An admitted customer is worth
    the reward of the class. Birth, death and uniformisation are the textbook's; the constraints
    are ours: one agent counts the customers in the system, n per event, the other those of the
    second class, which pays little, that are turned away.

    Args:
        capacity: C, at least 1.
        first_rate: arrivals of the first class per unit of time.
        second_rate: arrivals of the second class.
        service_rate: services per unit of time while somebody is there.
        first_reward: for a customer of the first class.
        second_reward: for one of the second.
        discount: γ in [0, 1) from one event to the next; budgets do not follow it.

    Raises:
        InvalidInput: no capacity, a rate that is not positive, or a reward that is no number.
    """
    check_count("capacity", capacity, least=1)
    rates = {"first_rate": first_rate, "second_rate": second_rate, "service_rate": service_rate}
    for field, rate in rates.items():
        checked(field, rate, positive)
    checked("first_reward", first_reward, finite)
    checked("second_reward", second_reward, finite)

    first, second, service = np.array(list(rates.values())) / sum(rates.values())
    room = np.arange(capacity + 1) < capacity
    takes_first = room[:, None] & np.array([False, True, False, True])
    takes_second = room[:, None] & np.array([False, False, True, True])
    up = first * takes_first + second * takes_second
    transition = np.zeros((capacity + 1, 4, capacity + 1))
    for customers in range(capacity + 1):
        after = transition[customers]
        after[:, min(customers + 1, capacity)] += up[customers]
        after[:, max(customers - 1, 0)] += service
        after[:, customers] += 1.0 - service - up[customers]
    waiting = np.broadcast_to(np.arange(capacity + 1)[:, None], up.shape)
    return from_arrays(
        transition,
        first_reward * first * takes_first + second_reward * second * takes_second,
        [waiting, second * ~takes_second],
        BUDGETS,
        np.eye(capacity + 1)[0],
        discount,
        constraint_names=["waiting", "turned-away"],
    )
