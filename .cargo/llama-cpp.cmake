# CMake reads this after each project(). By force, since the command line asks for it.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)
