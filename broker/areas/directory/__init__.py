"""The directory: meshes, members and the tokens that prove them.

noun      states                       who moves it
mesh      there                        owners of the mesh `default`
member    there, removed (for good)    owners and admins; the last owner stays an owner
token     good, ended                  who made it, time, its parent's end, its member's removal
"""
