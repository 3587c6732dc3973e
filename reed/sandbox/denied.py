"""The system calls that plugins are denied, by number on x86-64 and aarch64 (None: there is no such call).

Others up to LAST are allowed. Calls above LAST, and those of the x32 ABI, return ENOSYS, as on an older kernel.
"""

from __future__ import annotations

Numbers = tuple[int | None, int | None]

MACHINES = {"x86_64": 0, "aarch64": 1}
LAST = 462  # mseal, Linux 6.10

# SIGSYS kills the process: only an attack on the machine uses these
KILLED: dict[str, Numbers] = {
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "iopl": (172, None),
    "ioperm": (173, None),
}

# EPERM
TRACING: dict[str, Numbers] = {  # other processes: their memory, descriptors, pages
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
}
# Large parts of the kernel that plugins do not need; io_uring also bypasses this filter
KERNEL: dict[str, Numbers] = {
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "modify_ldt": (154, None),
    "personality": (135, 92),
    "uselib": (134, None),
}
MOUNTS: dict[str, Numbers] = {  # other mount namespaces; files by handle instead of path
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
}
MACHINE: dict[str, Numbers] = {  # the clock, host name and kernel log
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "acct": (163, 89),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
}
ATTRIBUTES: dict[str, Numbers] = {  # of any file of the same user: Landlock does not cover these
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
}
WATCHING: dict[str, Numbers] = {  # events in any folder
    "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
}
CHANNELS: dict[str, Numbers] = {  # between processes: Landlock does not cover these
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}
SERVING: dict[str, Numbers] = {  # a plugin serves only the core
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
}
LEAVING: dict[str, Numbers] = {  # the core kills a plugin with its process group and session
    "setsid": (112, 157),
    "setpgid": (109, 154),
}
REFUSED = (TRACING, KERNEL, MOUNTS, MACHINE, ATTRIBUTES, WATCHING, CHANNELS, SERVING, LEAVING)

# EPERM for a plugin that executes nothing: it stays one process
REFUSED_WITHOUT_EXEC: dict[str, Numbers] = {
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "socketpair": (53, 199),
}

# ENOSYS: its flags are in memory, which a filter cannot read. libc falls back to clone
UNKNOWN: dict[str, Numbers] = {"clone3": (435, 435)}

# EPERM unless the arguments pass the tests in `filter`
TESTED: dict[str, Numbers] = {
    "clone": (56, 220),
    "socket": (41, 198),
    "connect": (42, 203),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "utimensat": (280, 88),
}
