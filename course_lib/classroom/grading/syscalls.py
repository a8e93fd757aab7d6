"""A filter of system calls (seccomp) for learners' kernels: what the other limits of the sandbox cannot reach.

Refused are memory that belongs to no process (memfd, System V segments, a tmpfs in a new user namespace), which the
limit on memory would not see; the keyring of whoever started the grader; and taking back the promise to die with the
parent. Threads, subprocesses, multiprocessing and torch's DataLoader need none of these.
"""

import ctypes
import errno
import os
import struct

_ABSENT = ("memfd_create", "shmget", "msgget", "add_key", "request_key", "keyctl", "clone3", "io_uring_setup")
_NUMBERS = {  # from the kernel's tables of system calls, by machine: (name of the machine to seccomp, {name: number})
    "x86_64": (0xC000003E, {"unshare": 272, "clone": 56, "prctl": 157, "memfd_create": 319, "shmget": 29, "msgget": 68,
                            "add_key": 248, "request_key": 249, "keyctl": 250, "clone3": 435, "io_uring_setup": 425}),
    "aarch64": (0xC00000B7, {"unshare": 97, "clone": 220, "prctl": 167, "memfd_create": 279, "shmget": 194,
                             "msgget": 186, "add_key": 217, "request_key": 218, "keyctl": 219, "clone3": 435,
                             "io_uring_setup": 425})}
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF's instructions
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _NOT_ALLOWED, _NO_SUCH_CALL = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
_NEW_USER_NAMESPACE, _SET_PDEATHSIG = 0x10000000, 1


def program(machine):
    """The filter as BPF instructions: (code, jump if true, jump if false, constant)."""
    name, number = _NUMBERS[machine]
    code = [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, name), (_RETURN, 0, 0, _NOT_ALLOWED),
            (_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _NO_SUCH_CALL)]  # x32
    for call in _ABSENT:  # without clone3, whose flags a filter cannot read, libc takes clone
        code += [(_EQUAL, 0, 1, number[call]), (_RETURN, 0, 0, _NO_SUCH_CALL)]
    for call, test in (("unshare", (_ANY_BIT, 0, 1, _NEW_USER_NAMESPACE)),
                       ("clone", (_ANY_BIT, 0, 1, _NEW_USER_NAMESPACE)), ("prctl", (_EQUAL, 0, 1, _SET_PDEATHSIG))):
        code += [(_EQUAL, 0, 4, number[call]), (_LOAD, 0, 0, _FIRST_ARGUMENT), test, (_RETURN, 0, 0, _NOT_ALLOWED),
                 (_RETURN, 0, 0, _ALLOW)]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def forbid():
    """Put the filter on this process and all it starts, for good. OSError where the system has no seccomp."""
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    code = program(os.uname().machine)
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    libc = ctypes.CDLL(None, use_errno=True)
    set_seccomp, filtered = 22, 2
    if libc.prctl(set_seccomp, filtered, ctypes.byref(Program(len(code), ctypes.addressof(text))), 0, 0):
        raise OSError(ctypes.get_errno(), "this system has no filter of system calls (seccomp)")
